<?php
require __DIR__ . '/../shop.php';
open_session();
$user = needed_user();
show_page('Chat', '<div id="chat"></div>', $user, throughline_script($user, 'data-mode="inline" data-target="#chat"'));
