import assert from 'node:assert/strict';
import test from 'node:test';
import { loadConfig } from '../src/config.js';

const env = { DATABASE_URL: 'postgres://localhost/test', SESSION_SECRET: 'test-secret' };

test('reads what is set', () => {
  assert.equal(loadConfig({ ...env, PORT: '8080' }).port, 8080);
  assert.equal(loadConfig(env).carrierKey, null);
});

test('names what is missing', () => {
  assert.throws(() => loadConfig({}), /DATABASE_URL, SESSION_SECRET/);
});

test('paths use the separator of the platform', { skip: process.platform === 'win32' }, () => {
  assert.equal(new URL('../src', import.meta.url).pathname.includes('\\'), false);
});
