import assert from 'node:assert/strict';
import test from 'node:test';
import { batch, label } from '../src/labels/print.js';
import parcel from './fixtures/parcel.js';

test('a label is 32 letters wide', () => {
  for (const line of label(parcel)) assert.ok(line.length <= 32);
});

test('a label names sender and recipient', () => {
  const text = label(parcel).join('\n');
  assert.match(text, /TO {3}Kim/);
  assert.match(text, /FROM Lee/);
});

test('a batch has an empty line between labels', () => {
  assert.equal(batch([parcel, parcel]).split('\n\n').length, 2);
});
