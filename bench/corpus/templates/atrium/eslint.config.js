export default [{ rules: { 'no-console': 'error', 'prefer-const': 'error' } }];
