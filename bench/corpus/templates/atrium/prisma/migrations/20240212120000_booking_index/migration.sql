CREATE INDEX "Booking_roomId_start_idx" ON "Booking" ("roomId", "start");
