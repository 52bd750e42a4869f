import { useEffect, useState } from 'react';
import type { Booking } from '../domain/booking';
import { BookingList } from './BookingList';

export function App() {
  const [bookings, setBookings] = useState<Booking[]>([]);
  useEffect(() => {
    void fetch('/api/bookings').then(async (answer) => setBookings((await answer.json()) as Booking[]));
  }, []);
  return (
    <main>
      <h1>Rooms</h1>
      <BookingList bookings={bookings} />
    </main>
  );
}
