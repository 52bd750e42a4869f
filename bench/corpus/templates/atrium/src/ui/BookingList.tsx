import type { Booking } from '../domain/booking';
import { minutes } from '../domain/time';
import { clock, duration } from './format';

export function BookingList({ bookings, onDelete }: { bookings: Booking[]; onDelete?: (id: string) => void }) {
  if (bookings.length === 0) return <p>No bookings today.</p>;
  return (
    <ul>
      {bookings.map((booking) => (
        <li key={booking.id}>
          {clock(new Date(booking.start))} {booking.room} ({duration(minutes(booking))})
          {onDelete && <button onClick={() => onDelete(booking.id)}>delete</button>}
        </li>
      ))}
    </ul>
  );
}
