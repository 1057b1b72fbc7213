# What the reader of a document has before its first command: two commits of a site, purgefront running, a
# bucket connected to it, an invalidation that somebody requested, and a dead letter.
git init --quiet
echo hello >index.html
git add index.html
git commit --quiet --message one
echo hello >"a b.html"
git add "a b.html"
git commit --quiet --message two
ln -s "$REPO/Dockerfile" "$REPO/Makefile" .
mkdir deploy
ln -s "$REPO"/deploy/* deploy

[ "$WORLD" = running ] || return 0
purgefront serve
aws sqs create-queue --queue-name site-changes-dead-letters
purgefront connect my-bucket --topic arn:aws:sns:us-east-1:123456789012:site-changes --create-topic \
    --endpoint "$PUBLIC/sns" --yes
aws s3 cp index.html s3://my-bucket/index.html
aws s3 cp index.html 's3://my-bucket/~index.html'
authorized=(-H "Authorization: Bearer $TOKEN")
wanted="{\"distribution_id\": \"$DISTRIBUTION\", \"paths\": [\"/wanted\"]}"
# Refused until the account has been read.
until curl "http://$LISTEN/invalidate" "${authorized[@]}" -d "$wanted" | jq -er .id >"$SCENE/REQUEST"; do
    sleep 0.1
done
url="http://$LISTEN/requests/$(cat "$SCENE/REQUEST")"
until curl "$url" "${authorized[@]}" | jq -er '.invalidations[0].id' >"$SCENE/INVALIDATION"; do
    sleep 0.1
done
until purgefront deadletters list --json | jq -e '.dead_letters[0].id' >"$SCENE/LETTER"; do
    sleep 0.1
done
