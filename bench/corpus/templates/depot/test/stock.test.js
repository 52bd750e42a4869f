import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Stock } from '../src/warehouse/stock.js';

describe('Stock', () => {
  let stock;
  beforeEach(() => {
    stock = new Stock(2);
    stock.store('a', 'A-1');
  });

  it('tells where a parcel is', () => {
    assert.equal(stock.where('a'), 'A-1');
    assert.equal(stock.where('b'), null);
  });

  it('has room for so many', () => {
    stock.store('b', 'A-2');
    assert.throws(() => stock.store('c', 'A-3'), /full/);
    assert.equal(stock.size, 2);
  });

  it('does not store a parcel twice', () => {
    assert.throws(() => stock.store('a', 'B-1'), /already/);
  });

  it('gives a place free again', () => {
    assert.equal(stock.remove('a'), 'A-1');
    assert.equal(stock.size, 0);
    assert.throws(() => stock.remove('a'), /not here/);
  });

  it('is empty after the inventory', () => {
    stock.clear();
    assert.equal(stock.size, 0);
  });
});
