# cmake -DFOLDER=... -DOUT=... -P embed.cmake: the files of FOLDER as one C++ source. A file holds no `)page"`.
file(GLOB files LIST_DIRECTORIES false ${FOLDER}/*.html ${FOLDER}/*.css ${FOLDER}/*.js ${FOLDER}/*.svg)
list(SORT files)
set(entries)
foreach(path IN LISTS files)
  get_filename_component(name ${path} NAME)
  file(READ ${path} text)
  string(APPEND entries "    {\"${name}\", R\"page(${text})page\"},\n")
endforeach()
file(WRITE ${OUT}.new "#include \"gallery/page_files.h\"

namespace tiltshift::gallery {
namespace {

constexpr PageFile kFiles[] = {
${entries}};

}  // namespace

std::span<const PageFile> PageFiles() { return kFiles; }

}  // namespace tiltshift::gallery
")
configure_file(${OUT}.new ${OUT} COPYONLY)
