import { expect, test } from 'vitest';
import { Store } from './store';

test('numbers its bookings', () => {
  const store = new Store();
  const first = store.add({ room: 'oak', user: 'kim', start: 1, end: 2 });
  const second = store.add({ room: 'oak', user: 'kim', start: 3, end: 4 });
  expect(first.id).not.toBe(second.id);
  expect(store.bookings()).toEqual([first, second]);
});

test('deleting a room keeps its past bookings', () => {
  const store = new Store();
  store.add({ room: 'oak', user: 'kim', start: 1, end: 2 });
  store.add({ room: 'oak', user: 'kim', start: 10, end: 12 });
  store.deleteRoom('oak', 5);
  expect(store.rooms()).not.toContain('oak');
  expect(store.bookings().map((one) => one.start)).toEqual([1]);
});
