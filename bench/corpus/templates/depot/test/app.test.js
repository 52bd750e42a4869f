import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeApp } from '../src/http/app.js';

describe('app', () => {
  it('registers and finds a parcel', async () => {
    const app = makeApp();
    const made = await app.handle('POST', '/parcels', { country: 'DE', grams: 700 });
    assert.equal(made.status, 200);
    assert.equal(made.body.cents, 490);
    const found = await app.handle('GET', `/parcels/${made.body.id}`);
    assert.deepEqual(found.body, made.body);
  });

  it('cancels a parcel that has not left', async () => {
    const app = makeApp(new Map([['p', { id: 'p', status: 'registered' }]]));
    assert.equal((await app.handle('DELETE', '/parcels/p')).body.status, 'cancelled');
    assert.equal((await app.handle('DELETE', '/parcels/p')).status, 400);
  });

  it('answers 404 for what is not there', async () => {
    assert.equal((await makeApp().handle('GET', '/parcels/none')).status, 404);
    assert.equal((await makeApp().handle('GET', '/elsewhere')).status, 404);
  });
});
