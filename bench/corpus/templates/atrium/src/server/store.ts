import type { Booking } from '../domain/booking';

export class Store {
  private readonly all = new Map<string, Booking>();
  private readonly names = new Set<string>(['oak', 'elm', 'ash']);
  private next = 1;

  bookings(): Booking[] {
    return [...this.all.values()];
  }

  rooms(): string[] {
    return [...this.names];
  }

  add(wanted: Omit<Booking, 'id'>): Booking {
    const booking = { ...wanted, id: `b${this.next++}` };
    this.all.set(booking.id, booking);
    return booking;
  }

  deleteRoom(room: string, now: number): void {
    this.names.delete(room);
    for (const booking of this.bookings()) {
      if (booking.room === room && booking.start >= now) this.all.delete(booking.id);
    }
  }
}
