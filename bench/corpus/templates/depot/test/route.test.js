import assert from 'node:assert/strict';
import test from 'node:test';
import { route } from '../src/warehouse/route.js';

const network = { A: { B: 4, C: 1 }, C: { B: 2, D: 7 }, B: { D: 1 }, E: {} };

test('takes the cheapest way', () => {
  assert.deepEqual(route(network, 'A', 'D'), { path: ['A', 'C', 'B', 'D'], cost: 4 });
});

test('is free to where one is', () => {
  assert.deepEqual(route(network, 'A', 'A'), { path: ['A'], cost: 0 });
});

test('knows when there is no way', () => {
  assert.equal(route(network, 'A', 'E'), null);
});
