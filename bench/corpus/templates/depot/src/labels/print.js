/** A parcel's label as lines of text, 32 letters wide. */
export function label(parcel) {
  const line = '-'.repeat(32);
  return [line, `TO   ${parcel.to}`.slice(0, 32), `FROM ${parcel.from}`.slice(0, 32), parcel.id.padStart(32), line];
}

export function batch(parcels) {
  return parcels.map((parcel) => label(parcel).join('\n')).join('\n\n');
}
