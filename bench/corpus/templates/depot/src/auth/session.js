import { randomUUID } from 'node:crypto';
import { Forbidden } from '../errors.js';

export const WEEK_MS = 7 * 24 * 3600 * 1000;

export class Sessions {
  #open = new Map();

  constructor(clock = Date.now) {
    this.clock = clock;
  }

  start(user) {
    const id = randomUUID();
    this.#open.set(id, { user, used: this.clock() });
    return id;
  }

  require(id) {
    const session = this.#open.get(id);
    if (!session || this.clock() - session.used > WEEK_MS) {
      this.#open.delete(id);
      throw new Forbidden('log in first');
    }
    session.used = this.clock();
    return session.user;
  }

  end(id) {
    return this.#open.delete(id);
  }
}
