import assert from 'node:assert/strict';
import test from 'node:test';
import { checkDigit, isTrackingNumber, newTrackingNumber } from '../src/parcels/tracking.js';

test('new numbers are valid and differ', () => {
  const one = newTrackingNumber();
  assert.ok(isTrackingNumber(one));
  assert.notEqual(one, newTrackingNumber());
});

test('a mistyped letter is found', () => {
  const number = newTrackingNumber(Buffer.alloc(10, 1));
  assert.equal(isTrackingNumber(number.replace('3', '4')), false);
});

test('the check digit is stable', () => {
  assert.equal(checkDigit('3333333333'), 'N');
});

test('other texts are no tracking numbers', () => {
  for (const text of ['', 'SHORT', null, '0000000000A']) assert.equal(isTrackingNumber(text), false);
});
