import { describe, expect, it } from 'vitest';
import { MINUTE, minutes, overlaps, roundUp } from './time';

const span = (start: number, end: number) => ({ start, end });

describe('overlaps', () => {
  it.each([
    [span(0, 10), span(5, 15), true],
    [span(0, 10), span(10, 20), false],
    [span(0, 10), span(2, 3), true],
  ])('%o and %o: %s', (one, other, expected) => {
    expect(overlaps(one, other)).toBe(expected);
    expect(overlaps(other, one)).toBe(expected);
  });
});

it('counts minutes', () => {
  expect(minutes(span(0, 90 * MINUTE))).toBe(90);
});

it('rounds up to a quarter of an hour', () => {
  expect(roundUp(1)).toBe(15 * MINUTE);
  expect(roundUp(15 * MINUTE)).toBe(15 * MINUTE);
});
