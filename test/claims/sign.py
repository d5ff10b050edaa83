import importlib.util
import sys

spec = importlib.util.spec_from_file_location('throughline', sys.argv[1])
throughline = importlib.util.module_from_spec(spec)
spec.loader.exec_module(throughline)

for line in sys.stdin.buffer.read().decode('utf-8').rstrip('\n').split('\n'):
    what, key, *fields = line.split('\t')
    if what == 'json':
        print(throughline.throughline_sign(fields[0], key))
    else:
        site, id, name, avatar, role, rooms, iat, exp = fields
        user = {'site': site, 'id': id, 'name': name, 'role': role, 'rooms': rooms.split(',')}
        if avatar:
            user['avatar'] = avatar
        print(throughline.throughline_claims({**user, 'iat': int(iat), 'exp': int(exp)}, key))
