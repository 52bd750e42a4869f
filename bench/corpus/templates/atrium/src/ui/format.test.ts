import { describe, expect, it } from 'vitest';
import { clock, duration } from './format';

describe('format', () => {
  it('shows a clock', () => {
    expect(clock(new Date('2024-05-01T07:05:00Z'))).toBe('07:05');
  });

  it('shows durations', () => {
    expect(duration(45)).toBe('45 min');
    expect(duration(60)).toBe('1 h');
    expect(duration(90)).toBe('1 h 30 min');
  });
});
