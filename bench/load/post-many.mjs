/** Fills a room: `count` posts as fast as they are accepted, while nobody reads. */
export async function postMany(crowd, { count, connections = 64 }) {
  await crowd.openPosters(connections);
  const room = crowd.rooms[0];
  let left = count;
  await Promise.all(
    crowd.posters.map(async (poster) => {
      while (left-- > 0 && !crowd.broken) await crowd.post(poster, room);
    }),
  );
  // Who comes now hasn't missed them.
  room.posted = [];
  return {};
}
