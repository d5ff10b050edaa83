<?php
require $argv[1];
foreach (file('php://stdin', FILE_IGNORE_NEW_LINES) as $line) {
    [$what, $key, $text, $more] = explode("\t", "$line\t", 4);
    if ($what === 'json') {
        echo throughline_sign($text, $key), "\n";
    } else {
        [$site, $id, $name, $avatar, $role, $rooms, $iat, $exp] = explode("\t", "$text\t$more");
        $user = ['site' => $site, 'id' => $id, 'name' => $name, 'role' => $role, 'rooms' => explode(',', $rooms)];
        $user += $avatar === '' ? [] : ['avatar' => $avatar];
        echo throughline_claims($user + ['iat' => (int) $iat, 'exp' => (int) $exp], $key), "\n";
    }
}
