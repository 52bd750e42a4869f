export function loadConfig(env = process.env) {
  const missing = ['DATABASE_URL', 'SESSION_SECRET'].filter((name) => !env[name]);
  if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
  return {
    databaseUrl: env.DATABASE_URL,
    sessionSecret: env.SESSION_SECRET,
    carrierKey: env.CARRIER_API_KEY ?? null,
    port: Number(env.PORT ?? 3000),
  };
}
