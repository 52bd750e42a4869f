import assert from 'node:assert/strict';
import test from 'node:test';
import { canMove, isFinal, move } from '../src/parcels/status.js';

test('a registered parcel can be cancelled', () => {
  assert.equal(move({ id: 'p', status: 'registered' }, 'cancelled').status, 'cancelled');
});

test('a parcel under way cannot be cancelled', () => {
  assert.equal(canMove('in_transit', 'cancelled'), false);
  assert.throws(() => move({ status: 'in_transit' }, 'cancelled'), /cannot become cancelled/);
});

test('a parcel may pass several warehouses', () => {
  assert.equal(canMove('in_transit', 'in_transit'), true);
});

test('delivered, returned and cancelled are final', () => {
  for (const status of ['delivered', 'returned', 'cancelled']) assert.equal(isFinal(status), true);
  assert.equal(isFinal('collected'), false);
});

test('moving does not change the parcel that was given', () => {
  const parcel = Object.freeze({ id: 'p', status: 'registered' });
  move(parcel, 'collected');
  assert.equal(parcel.status, 'registered');
});
