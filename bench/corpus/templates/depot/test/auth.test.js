import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hashPassword, verifyPassword } from '../src/auth/password.js';
import { may } from '../src/auth/roles.js';
import { Sessions, WEEK_MS } from '../src/auth/session.js';

describe('passwords', () => {
  it('verify', () => {
    const stored = hashPassword('correct horse');
    assert.equal(verifyPassword('correct horse', stored), true);
    assert.equal(verifyPassword('battery staple', stored), false);
  });

  it('are salted', () => {
    assert.notEqual(hashPassword('same'), hashPassword('same'));
  });
});

describe('sessions', () => {
  it('end after a week without use', () => {
    let now = 0;
    const sessions = new Sessions(() => now);
    const id = sessions.start('kim');
    now = WEEK_MS;
    assert.equal(sessions.require(id), 'kim');
    now = 3 * WEEK_MS;
    assert.throws(() => sessions.require(id), /log in/);
  });

  it('end when the user leaves', () => {
    const sessions = new Sessions(() => 0);
    const id = sessions.start('kim');
    assert.equal(sessions.end(id), true);
    assert.throws(() => sessions.require(id), /log in/);
  });
});

describe('roles', () => {
  it('give rights', () => {
    assert.equal(may('clerk', 'parcel:cancel'), true);
    assert.equal(may('driver', 'parcel:cancel'), false);
    assert.equal(may('ghost', 'parcel:scan'), false);
  });
});
