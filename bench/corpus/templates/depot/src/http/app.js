import { NotFound } from '../errors.js';
import { move, newTrackingNumber, postage } from '../parcels/index.js';
import { Router } from './router.js';

export function makeApp(parcels = new Map()) {
  const find = (id) => {
    const parcel = parcels.get(id);
    if (!parcel) throw new NotFound(`no parcel ${id}`);
    return parcel;
  };
  return new Router()
    .on('GET', '/parcels/:id', ({ id }) => find(id))
    .on('POST', '/parcels', (_, { country, grams }) => {
      const parcel = { id: newTrackingNumber(), country, grams, cents: postage(country, grams), status: 'registered' };
      parcels.set(parcel.id, parcel);
      return parcel;
    })
    .on('DELETE', '/parcels/:id', ({ id }) => {
      const parcel = move(find(id), 'cancelled');
      parcels.set(id, parcel);
      return parcel;
    });
}
