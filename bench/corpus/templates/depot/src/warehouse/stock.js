import { DepotError } from '../errors.js';

export class Stock {
  #places = new Map();

  constructor(capacity) {
    this.capacity = capacity;
  }

  get size() {
    return this.#places.size;
  }

  store(parcel, place) {
    if (this.#places.has(parcel)) throw new DepotError(`${parcel} is here already`);
    if (this.size >= this.capacity) throw new DepotError('the warehouse is full');
    this.#places.set(parcel, place);
  }

  remove(parcel) {
    const place = this.#places.get(parcel);
    if (place === undefined) throw new DepotError(`${parcel} is not here`);
    this.#places.delete(parcel);
    return place;
  }

  where(parcel) {
    return this.#places.get(parcel) ?? null;
  }

  /** Drop everything, for the yearly inventory. */
  clear() {
    this.#places.clear();
  }
}
