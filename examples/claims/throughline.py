"""Django: context['claims'] = throughline_claims({'site': 'shop', 'id': str(user.pk), 'name': user.get_username()}, settings.THROUGHLINE_KEY)"""
import base64
import hashlib
import hmac
import json
import time


def throughline_claims(user, key):
    now = int(time.time())
    claims = {'site': 'main', 'role': 'member', 'rooms': ['*'], 'iat': now, 'exp': now + 600, **user}
    return throughline_sign(json.dumps(claims), key)


def throughline_sign(text, key):
    p = base64.urlsafe_b64encode(text.encode('utf-8')).rstrip(b'=')
    return p.decode('ascii') + '.' + hmac.new(key.encode('utf-8'), p, hashlib.sha256).hexdigest()
