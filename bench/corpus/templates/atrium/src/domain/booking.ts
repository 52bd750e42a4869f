import { DAY, MINUTE, overlaps, type Span } from './time';

export interface Booking extends Span {
  id: string;
  room: string;
  user: string;
}

export class BookingError extends Error {
  constructor(
    message: string,
    readonly code: 'too_short' | 'too_long' | 'past' | 'taken',
  ) {
    super(message);
  }
}

export const SHORTEST = 15 * MINUTE;

export function check(wanted: Omit<Booking, 'id'>, existing: readonly Booking[], now: number): void {
  if (wanted.start < now) throw new BookingError('a booking begins in the future', 'past');
  if (wanted.end - wanted.start < SHORTEST) throw new BookingError('at least 15 minutes', 'too_short');
  if (wanted.end - wanted.start > DAY) throw new BookingError('at most a day', 'too_long');
  const taken = existing.find((one) => one.room === wanted.room && overlaps(one, wanted));
  if (taken) throw new BookingError(`taken by ${taken.user}`, 'taken');
}

export function free(rooms: readonly string[], existing: readonly Booking[], span: Span): string[] {
  return rooms.filter((room) => !existing.some((one) => one.room === room && overlaps(one, span)));
}
