import { describe, expect, it } from 'vitest';
import { requireAdmin, sign, verify } from './auth';

const claims = { user: 'kim', role: 'member' as const, exp: 100 };

describe('tokens', () => {
  it('verify what was signed', () => {
    expect(verify(sign(claims, 'test'), 'test', 99)).toEqual(claims);
  });

  it('refuse another secret', () => {
    expect(verify(sign(claims, 'test'), 'other', 99)).toBeNull();
  });

  it('refuse what has expired', () => {
    expect(verify(sign(claims, 'test'), 'test', 100)).toBeNull();
  });

  it('refuse what is no token', () => {
    expect(verify('nonsense', 'test', 1)).toBeNull();
  });
});

it('lets only admins through', () => {
  expect(() => requireAdmin(null)).toThrow('admins only');
  expect(() => requireAdmin(claims)).toThrow('admins only');
  expect(() => requireAdmin({ ...claims, role: 'admin' })).not.toThrow();
});
