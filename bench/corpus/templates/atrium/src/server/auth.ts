import { createHmac, timingSafeEqual } from 'node:crypto';

export interface Claims {
  user: string;
  role: 'member' | 'admin';
  exp: number;
}

const encode = (value: string) => Buffer.from(value).toString('base64url');

export function sign(claims: Claims, secret: string): string {
  const body = encode(JSON.stringify(claims));
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

export function verify(token: string, secret: string, now: number): Claims | null {
  const [body, signature] = token.split('.');
  if (!body || !signature) return null;
  const expected = createHmac('sha256', secret).update(body).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as Claims;
  return claims.exp > now ? claims : null;
}

export function requireAdmin(claims: Claims | null): void {
  if (claims?.role !== 'admin') throw new Error('admins only');
}
