export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;

export interface Span {
  start: number;
  end: number;
}

export function overlaps(one: Span, other: Span): boolean {
  return one.start < other.end && other.start < one.end;
}

export function minutes(span: Span): number {
  return Math.round((span.end - span.start) / MINUTE);
}

export function roundUp(at: number, step: number = 15 * MINUTE): number {
  return Math.ceil(at / step) * step;
}
