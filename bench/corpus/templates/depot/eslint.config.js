export default [
  {
    files: ['src/**/*.js', 'test/**/*.js'],
    rules: { 'no-unused-vars': 'error', eqeqeq: 'error', 'no-console': 'warn' },
  },
];
