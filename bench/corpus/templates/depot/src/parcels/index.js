export { batchPostage, postage } from './postage.js';
export { canMove, isFinal, move } from './status.js';
export { isTrackingNumber, newTrackingNumber } from './tracking.js';
