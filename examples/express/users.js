import { scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const USERS = {
  ada: {
    id: '7',
    name: 'Ada Lovelace',
    salt: 'ada-salt-9f2c',
    hash: 'ca3e7b92f7a56a2a98c7bb49f44d0903e72b10d6e46eb32bf2bca3257be327a0',
  },
  zoe: {
    id: '8',
    name: "Zoë O'Hara <zoe>",
    salt: 'zoe-salt-9f2c',
    hash: 'f1f77b1229957409f2dbada8f7bb12d63814fb8b20e8949f6a93725a789a913a',
  },
};

/** Who has this name and password; undefined for nobody. */
export async function userWithPassword(login, password) {
  const user = Object.hasOwn(USERS, login) ? USERS[login] : undefined;
  // Also for nobody: whether there is a user of a name doesn't show in how long this takes.
  const hash = await promisify(scrypt)(password, user?.salt ?? 'nobody', 32);
  return user && timingSafeEqual(hash, Buffer.from(user.hash, 'hex'))
    ? { id: user.id, name: user.name }
    : undefined;
}
