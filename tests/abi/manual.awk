# C from manual pages: with part=synopsis their declarations, else each example as a block. Fails if a page has none.
FNR == 1		{ leave(); page = FILENAME; found = 0; section = shown = "" }
/^\.SH /		{ section = $2 }
/^\.(EE|fi)/ && shown	{ print "}"; shown = "" }
shown && !/^\\&\.\.\./	{ print plain($0) }
part != "synopsis" && (/^\.EX/ || (/^\.nf/ && section == "EXAMPLE")) { print "{"; found = shown = 1 }
part == "synopsis" && section == "SYNOPSIS" && /^\.BI? / { print joined($0); found = 1 }
END			{ leave(); exit failed }

function leave() {
	if (page != "" && !found) {
		print page ": no " part > "/dev/stderr"
		failed = 1
	}
}

function plain(line) {
	gsub(/\\-/, "-", line)
	gsub(/\\\(dq/, "\"", line)
	gsub(/\\e/, "\\", line)
	return line
}

# .BI "int f(void *" area ", size_t " len );	the words follow each other without a space
function joined(line,   words, word) {
	sub(/^\.BI? /, "", line)
	if (line ~ /^#/)
		return line
	while (match(line, /^ *("[^"]*"|[^ "]+)/)) {
		word = substr(line, 1, RLENGTH)
		line = substr(line, RLENGTH + 1)
		gsub(/^ *"?|"$/, "", word)
		words = words word
	}
	return plain(words)
}
