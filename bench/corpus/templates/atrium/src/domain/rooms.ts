export interface Room {
  id: string;
  name: string;
  seats: number;
  floor: number;
}

export function fitting(rooms: readonly Room[], people: number): Room[] {
  return rooms.filter((room) => room.seats >= people).sort((a, b) => a.seats - b.seats || a.name.localeCompare(b.name));
}

export function byFloor(rooms: readonly Room[]): Map<number, Room[]> {
  const floors = new Map<number, Room[]>();
  for (const room of rooms) floors.set(room.floor, [...(floors.get(room.floor) ?? []), room]);
  return floors;
}
