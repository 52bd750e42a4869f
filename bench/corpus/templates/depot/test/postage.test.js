import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { batchPostage, MAX_GRAMS, postage } from '../src/parcels/postage.js';

describe('postage', () => {
  it('costs the base price up to a kilogram', () => {
    assert.equal(postage('DE', 1), 490);
    assert.equal(postage('DE', 1000), 490);
  });

  it('costs a step more for each kilogram that is begun', () => {
    assert.equal(postage('DE', 1001), 640);
    assert.equal(postage('US', 5000), 2490);
  });

  it('refuses countries that are not served', () => {
    assert.throws(() => postage('XX', 100), /no parcels to XX/);
  });

  it('refuses weights that are none', () => {
    for (const grams of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => postage('DE', grams), /positive/);
    }
    assert.throws(() => postage('DE', MAX_GRAMS + 1), /too heavy/);
  });
});

describe('batchPostage', () => {
  const parcel = { country: 'AT', grams: 500 };

  it('sums the parcels', () => {
    assert.equal(batchPostage([parcel, parcel]), 980);
  });

  it('takes five percent off from ten parcels on', () => {
    assert.equal(batchPostage(Array(9).fill(parcel)), 4410);
    assert.equal(batchPostage(Array(10).fill(parcel)), 4655);
  });
});
