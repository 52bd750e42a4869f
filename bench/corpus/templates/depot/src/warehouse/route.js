/** The cheapest way between two warehouses: Dijkstra over {from: {to: cost}}. */
export function route(network, from, to) {
  const costs = new Map([[from, 0]]);
  const before = new Map();
  const open = new Set([from]);
  while (open.size > 0) {
    const here = [...open].reduce((best, one) => (costs.get(one) < costs.get(best) ? one : best));
    open.delete(here);
    if (here === to) break;
    for (const [next, cost] of Object.entries(network[here] ?? {})) {
      const total = costs.get(here) + cost;
      if (total < (costs.get(next) ?? Infinity)) {
        costs.set(next, total);
        before.set(next, here);
        open.add(next);
      }
    }
  }
  if (!costs.has(to)) return null;
  const path = [to];
  while (path[0] !== from) path.unshift(before.get(path[0]));
  return { path, cost: costs.get(to) };
}
