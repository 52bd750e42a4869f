const RIGHTS = {
  driver: ['parcel:scan'],
  clerk: ['parcel:scan', 'parcel:create', 'parcel:cancel'],
  admin: ['parcel:scan', 'parcel:create', 'parcel:cancel', 'user:manage'],
};

export function may(role, right) {
  return (RIGHTS[role] ?? []).includes(right);
}
