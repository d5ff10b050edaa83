# docker build -t throughline .
# docker run --init -p 3000:3000 -v throughline:/data --stop-timeout 20 throughline
#
# With REDIS_URL unset it keeps its data in a Redis of its own under /data. compose.yaml runs it beside a Redis.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends redis-server \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o node -g node -m 700 /data
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/public ./public
COPY --from=build /app/dist ./dist
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
USER node
VOLUME /data
EXPOSE 3000
# A certificate names the public host, never 127.0.0.1, so it isn't verified here.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "-e", "const { env, exit } = process; const client = require(env.TLS_CERT ? 'https' : 'http'); const path = (env.BASE_PATH || '').replace(/[/]+$/, '') + '/healthz'; client.get({ host: '127.0.0.1', port: env.PORT, path, rejectUnauthorized: false, timeout: 4000 }, (answer) => exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => exit(1)).on('timeout', () => exit(1));"]
STOPSIGNAL SIGTERM
# As process 1 node gets the signal itself and reaps its Redis; --init also reaps what a killed Redis had forked.
CMD ["node", "dist/main.js"]
