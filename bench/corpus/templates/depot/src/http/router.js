import { DepotError } from '../errors.js';

const STATUS = { not_found: 404, forbidden: 403, invalid: 400 };

export class Router {
  #routes = [];

  on(method, pattern, handler) {
    const names = [...pattern.matchAll(/:(\w+)/g)].map((match) => match[1]);
    const regex = new RegExp(`^${pattern.replace(/:\w+/g, '([^/]+)')}$`);
    this.#routes.push({ method, regex, names, handler });
    return this;
  }

  async handle(method, path, body) {
    for (const route of this.#routes) {
      const match = route.method === method ? route.regex.exec(path) : null;
      if (!match) continue;
      const parameters = Object.fromEntries(route.names.map((name, i) => [name, decodeURIComponent(match[i + 1])]));
      try {
        return { status: 200, body: await route.handler(parameters, body) };
      } catch (error) {
        if (!(error instanceof DepotError)) throw error;
        return { status: STATUS[error.code] ?? 400, body: { error: error.message } };
      }
    }
    return { status: 404, body: { error: 'no such page' } };
  }
}
