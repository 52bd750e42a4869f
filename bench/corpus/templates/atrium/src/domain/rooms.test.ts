import { expect, test } from 'vitest';
import { byFloor, fitting, type Room } from './rooms';

const rooms: Room[] = [
  { id: '1', name: 'Oak', seats: 8, floor: 1 },
  { id: '2', name: 'Elm', seats: 4, floor: 1 },
  { id: '3', name: 'Ash', seats: 4, floor: 2 },
];

test('the smallest fitting room comes first', () => {
  expect(fitting(rooms, 3).map((room) => room.name)).toEqual(['Ash', 'Elm', 'Oak']);
  expect(fitting(rooms, 5).map((room) => room.name)).toEqual(['Oak']);
});

test('rooms by floor', () => {
  const floors = byFloor(rooms);
  expect([...floors.keys()]).toEqual([1, 2]);
  expect(floors.get(1)).toHaveLength(2);
});
