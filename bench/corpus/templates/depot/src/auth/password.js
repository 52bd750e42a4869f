import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';

const LENGTH = 32;

export function hashPassword(password, salt = randomBytes(16)) {
  return `${salt.toString('hex')}:${scryptSync(password, salt, LENGTH, { N: 1024 }).toString('hex')}`;
}

export function verifyPassword(password, stored) {
  const [salt, hash] = stored.split(':');
  const given = scryptSync(password, Buffer.from(salt, 'hex'), LENGTH, { N: 1024 });
  return timingSafeEqual(given, Buffer.from(hash, 'hex'));
}
