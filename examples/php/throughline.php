<?php
// All that the shop knows of the chat: who its users are there, its line in a page, and what the shop tells it.

/** The user, signed for the chat. A page with this in it is that user's alone, and is kept nowhere. */
function throughline_claims(array $user): string
{
    $now = time();
    $claims = ['site' => getenv('THROUGHLINE_SITE'), 'id' => (string) $user['id'], 'name' => $user['name'],
        'role' => 'member', 'rooms' => ['*'], 'iat' => $now, 'exp' => $now + 600];
    $p = rtrim(strtr(base64_encode(json_encode($claims, JSON_INVALID_UTF8_SUBSTITUTE)), '+/', '-_'), '=');
    header('Cache-Control: private, no-store');
    $signed = $p . '.' . hash_hmac('sha256', $p, getenv('THROUGHLINE_KEY'));

    return $signed;
}

/** The line that puts the chat into a page. `$more`: further attributes, such as `data-mode="inline"`. */
function throughline_script(array $user, string $more = ''): string
{
    [$url, $site] = [e(getenv('THROUGHLINE_URL')), e(getenv('THROUGHLINE_SITE'))];
    $claims = throughline_claims($user);

    return "<script src=\"$url/widget.js\" async data-site=\"$site\" data-room=\"lobby\" data-claims=\"$claims\" "
        . "data-auth-url=\"/chat-claims.php\" $more></script>";
}

/** Scheme and host of the chat, for a content security policy. */
function throughline_origin(): string
{
    return preg_match('#^https?://[^/;,\s]+#', getenv('THROUGHLINE_URL'), $found) ? $found[0] : "'none'";
}

/** Says something in a room, in the shop's name. Under one `$key` (16 letters or more) it is said once, however often it is sent. */
function throughline_post(string $room, string $text, string $key): bool
{
    return throughline_ask('/api/rooms/' . rawurlencode($room) . '/messages', ['text' => $text], $key);
}

/** Ends, wherever it is open, the chat of a user who has logged out here. */
function throughline_revoke(array $user): bool
{
    return throughline_ask('/api/users/' . rawurlencode((string) $user['id']) . '/revoke', ['at' => time()]);
}

/**
 * Asks the chat as the shop's server. False where it is down or refuses; the shop goes on all the same. Close the session
 * before this: for a second to connect and a second until the answer begins it holds this worker, and with it whatever is
 * locked. The answer's body isn't read: it may drip.
 */
function throughline_ask(string $path, array $fields = [], string $key = ''): bool
{
    $headers = ['Authorization: Bearer ' . getenv('THROUGHLINE_API_KEY'), 'Content-Type: application/x-www-form-urlencoded'];
    if ($key !== '') {
        $headers[] = "Idempotency-Key: $key";
    }
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => $headers,
        'content' => http_build_query($fields),
        'timeout' => 1,
        'follow_location' => 0,
    ]]);
    $answer = @fopen(getenv('THROUGHLINE_URL') . $path, 'r', false, $context);
    if ($answer === false) {
        error_log("the chat didn't take $path: " . (error_get_last()['message'] ?? 'no answer'));

        return false;
    }
    fclose($answer);

    return true;
}
