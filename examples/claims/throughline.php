<?php
// throughline_claims(['site' => 'shop', 'id' => (string) $user['id'], 'name' => $user['name']], getenv('THROUGHLINE_KEY'))
function throughline_claims(array $user, string $key): string
{
    $now = time();
    $claims = $user + ['site' => 'main', 'role' => 'member', 'rooms' => ['*'], 'iat' => $now, 'exp' => $now + 600];
    return throughline_sign(json_encode($claims, JSON_INVALID_UTF8_SUBSTITUTE), $key);
}

function throughline_sign(string $json, string $key): string
{
    $p = rtrim(strtr(base64_encode($json), '+/', '-_'), '=');
    return $p . '.' . hash_hmac('sha256', $p, $key);
}
