import { fireEvent, render, screen } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { BookingList } from './BookingList';

const booking = { id: 'b1', room: 'oak', user: 'kim', start: 0, end: 3_600_000 };

describe('BookingList', () => {
  it('says that there is nothing', () => {
    render(<BookingList bookings={[]} />);
    expect(screen.getByText('No bookings today.')).toBeTruthy();
  });

  it('lists time, room and duration', () => {
    render(<BookingList bookings={[booking]} />);
    expect(screen.getByRole('listitem').textContent).toContain('00:00 oak (1 h)');
  });

  it('deletes on a click', () => {
    const onDelete = vi.fn();
    render(<BookingList bookings={[booking]} onDelete={onDelete} />);
    fireEvent.click(screen.getByText('delete'));
    expect(onDelete).toHaveBeenCalledWith('b1');
  });
});
