import { DepotError } from '../errors.js';

const NEXT = {
  registered: ['collected', 'cancelled'],
  collected: ['in_transit'],
  in_transit: ['in_transit', 'delivered', 'returned'],
  delivered: [],
  returned: [],
  cancelled: [],
};

export function canMove(from, to) {
  return (NEXT[from] ?? []).includes(to);
}

export function move(parcel, to) {
  if (!canMove(parcel.status, to)) throw new DepotError(`a parcel that is ${parcel.status} cannot become ${to}`);
  return { ...parcel, status: to };
}

export function isFinal(status) {
  return (NEXT[status] ?? []).length === 0;
}
