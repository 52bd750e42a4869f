import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type Booking, BookingError, check, free } from '../domain/booking';
import { requireAdmin, verify } from './auth';
import type { Store } from './store';

const Wanted = z.object({ room: z.string().min(1), start: z.number().int(), end: z.number().int() });

export function routes(app: FastifyInstance, store: Store, secret: string): void {
  app.get('/api/bookings', async () => store.bookings());

  app.post('/api/bookings', async (request, reply) => {
    const claims = verify(request.headers.authorization?.slice(7) ?? '', secret, Date.now());
    if (!claims) return reply.code(401).send({ error: 'log in first' });
    const wanted = { ...Wanted.parse(request.body), user: claims.user };
    try {
      check(wanted, store.bookings(), Date.now());
    } catch (error) {
      if (error instanceof BookingError) return reply.code(409).send({ error: error.message, code: error.code });
      throw error;
    }
    return reply.code(201).send(store.add(wanted));
  });

  app.delete<{ Params: { id: string } }>('/api/rooms/:id', async (request, reply) => {
    requireAdmin(verify(request.headers.authorization?.slice(7) ?? '', secret, Date.now()));
    store.deleteRoom(request.params.id, Date.now());
    return reply.code(204).send();
  });

  app.get('/api/free', async (request) => {
    const { start, end } = z.object({ start: z.coerce.number(), end: z.coerce.number() }).parse(request.query);
    return free(store.rooms(), store.bookings() as Booking[], { start, end });
  });
}
