export class DepotError extends Error {
  constructor(message, code = 'invalid') {
    super(message);
    this.code = code;
  }
}

export class NotFound extends DepotError {
  constructor(message) {
    super(message, 'not_found');
  }
}

export class Forbidden extends DepotError {
  constructor(message) {
    super(message, 'forbidden');
  }
}
