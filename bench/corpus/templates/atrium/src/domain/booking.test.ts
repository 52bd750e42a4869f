import { beforeEach, describe, expect, it } from 'vitest';
import { type Booking, BookingError, check, free } from './booking';
import { DAY, MINUTE } from './time';

const NOW = 1_000 * MINUTE;
const existing: Booking[] = [
  { id: 'b1', room: 'oak', user: 'kim', start: NOW + 60 * MINUTE, end: NOW + 120 * MINUTE },
];

describe('check', () => {
  let wanted: Omit<Booking, 'id'>;
  beforeEach(() => {
    wanted = { room: 'oak', user: 'lee', start: NOW, end: NOW + 60 * MINUTE };
  });

  it('takes a room that is free', () => {
    expect(() => check(wanted, existing, NOW)).not.toThrow();
  });

  it('refuses a room that is taken', () => {
    expect(() => check({ ...wanted, end: NOW + 61 * MINUTE }, existing, NOW)).toThrow('taken by kim');
  });

  it('refuses what is too short or too long', () => {
    expect(() => check({ ...wanted, end: NOW + 14 * MINUTE }, [], NOW)).toThrow('at least 15 minutes');
    expect(() => check({ ...wanted, end: NOW + DAY + 1 }, [], NOW)).toThrow('at most a day');
  });

  it('refuses the past', () => {
    try {
      check({ ...wanted, start: NOW - 1 }, [], NOW);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(BookingError);
      expect((error as BookingError).code).toBe('past');
    }
  });
});

describe('free', () => {
  it('lists the rooms without a booking then', () => {
    const span = { start: NOW + 90 * MINUTE, end: NOW + 100 * MINUTE };
    expect(free(['oak', 'elm'], existing, span)).toEqual(['elm']);
  });
});
