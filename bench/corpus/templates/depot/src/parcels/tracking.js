import { randomBytes } from 'node:crypto';

const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';

export function newTrackingNumber(bytes = randomBytes(10)) {
  const body = [...bytes].map((byte) => ALPHABET[byte % ALPHABET.length]).join('');
  return body + checkDigit(body);
}

export function checkDigit(body) {
  let sum = 0;
  for (let i = 0; i < body.length; i += 1) sum += ALPHABET.indexOf(body[i]) * (i % 2 === 0 ? 3 : 1);
  return ALPHABET[sum % ALPHABET.length];
}

export function isTrackingNumber(text) {
  if (typeof text !== 'string' || text.length !== 11) return false;
  if ([...text].some((letter) => !ALPHABET.includes(letter))) return false;
  return checkDigit(text.slice(0, -1)) === text.at(-1);
}
