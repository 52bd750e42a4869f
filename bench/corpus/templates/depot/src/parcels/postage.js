import { DepotError } from '../errors.js';
import { ZONES } from '../generated/zones.js';

const BASE = { 1: 490, 2: 890, 3: 1290, 4: 1890 };
const STEP_GRAMS = 1000;
const STEP_CENTS = 150;
export const MAX_GRAMS = 30000;

/** What sending a parcel costs, in cents. */
export function postage(country, grams) {
  const zone = ZONES[country];
  if (zone === undefined) throw new DepotError(`no parcels to ${country}`);
  if (!Number.isInteger(grams) || grams <= 0) throw new DepotError('the weight is a positive number of grams');
  if (grams > MAX_GRAMS) throw new DepotError('too heavy');
  const steps = Math.ceil(grams / STEP_GRAMS) - 1;
  return BASE[zone] + steps * STEP_CENTS;
}

/** The cost of several parcels; ten and more get five percent off. */
export function batchPostage(parcels) {
  const sum = parcels.reduce((total, parcel) => total + postage(parcel.country, parcel.grams), 0);
  return parcels.length >= 10 ? Math.round(sum * 0.95) : sum;
}
