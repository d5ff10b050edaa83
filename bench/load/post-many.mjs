/** Fills a room (by default the first): `count` posts as fast as they are accepted, while nobody reads. */
export async function postMany(crowd, { count, connections = 64, room: index = 0 }) {
  await crowd.openPosters(connections);
  const room = crowd.rooms[index];
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
